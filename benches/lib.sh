# What the measuring scripts share; sourced, not run. Everything listens on 127.0.0.1 and lives in a folder that is removed
# at the end, with the processes that were started here.
#
# GATEWAY_BIN measures another binary, WORKERS another number of workers (1), PORT another port (21500; the service has the next).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
port=${PORT:-21500}
service=$((port + 1))
work=$(mktemp -d)
started=()

finish() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

# need PROGRAM...: says what is missing, and how to get it.
need() {
    local missing=()
    for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
    if ((${#missing[@]})); then
        echo "${0##*/}: please install ${missing[*]}: apt-get install ${missing[*]}" >&2
        exit 1
    fi
}

build() {
    binary=${GATEWAY_BIN:-$root/target/release/gatewright}
    if [[ -z ${GATEWAY_BIN:-} ]]; then (cd "$root" && cargo build --release --quiet); fi
}

# listens PORT: waits until somebody does.
listens() {
    for _ in $(seq 500); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.01
    done
    echo "${0##*/}: nobody listens on port $1" >&2
    cat "$work"/*.log >&2
    exit 1
}

# start_service: nginx with one answer of 1 KB.
start_service() {
    local body
    body=$(printf '{"id":42,"name":"Ada Lovelace","note":"%*s"}' 960 '' | tr ' ' x)
    nginx_at "$service" service "return 200 '$body';"
}

# nginx_at PORT NAME DIRECTIVES: one worker, sets $pid to that worker's.
nginx_at() {
    cat >"$work/$2.conf" <<END
daemon off;
pid $work/$2.pid;
error_log $work/$2.log;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path $work/$2-body;
    proxy_temp_path $work/$2-proxy;
    fastcgi_temp_path $work/$2-fastcgi;
    uwsgi_temp_path $work/$2-uwsgi;
    scgi_temp_path $work/$2-scgi;
    upstream service { server 127.0.0.1:$service; keepalive ${kept:-64}; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:$1;
        default_type application/json;
        location / { $3 }
    }
}
END
    # Without a master: one process, as one worker of the gateway is.
    nginx -p "$work" -c "$work/$2.conf" -g 'master_process off;' 2>"$work/$2-start.log" &
    pid=$!
    started+=("$pid")
    listens "$1"
}

# start_gateway [YAML]: with the plain and the scripted routes, or with this configuration. Sets $pid.
start_gateway() {
    cat >"$work/header.lua" <<'END'
return { on_request = function(req, ctx)
  if not req.headers["host"] then return reply.error(406, "no host") end
  req.headers["x-user-id"] = "7"
end }
END
    cat >"$work/header.rhai" <<'END'
fn on_request(req, ctx) {
  if req.headers["host"] == () { return reply::error(406, "no host"); }
  req.headers["x-user-id"] = "7";
}
END
    cat >"$work/calls.lua" <<'END'
return { handle = function(req, ctx)
  local got = http.all({ user = { url = "svc://service/user" }, order = { url = "svc://service/order" } })
  return reply.json(200, { name = got.user:json().name, order = got.order:json().id })
end }
END
    if (($#)); then
        printf '%s\n' "$1" >"$work/gateway.yaml"
    else
        cat >"$work/gateway.yaml" <<END
listen: 127.0.0.1:$port
admin: off
access_log: off
workers: ${WORKERS:-1}
services:
  - name: service
    url: http://127.0.0.1:$service
    routes:
      - {name: plain, paths: [/plain]}
      - {name: lua, paths: [/lua], plugins: [{script: header.lua}]}
      - {name: rhai, paths: [/rhai], plugins: [{script: header.rhai}]}
routes:
  - {name: calls, paths: [/calls], plugins: [{script: calls.lua}]}
END
    fi
    "$binary" run -c "$work/gateway.yaml" 2>"$work/gateway.log" &
    pid=$!
    started+=("$pid")
    listens "$port"
}

# ticks PID: processor time so far, in 1/100 s (proc(5)).
ticks() {
    local fields
    read -r fields <"/proc/$1/stat"
    set -- ${fields##*) }
    echo $((${12} + ${13}))
}
