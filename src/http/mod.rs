pub mod body {
    use bytes::Bytes;
    #[derive(Debug, thiserror::Error)]
    #[error("body")]
    pub struct BodyError;
    impl BodyError {
        pub fn is_too_large(&self) -> bool {
            false
        }
    }
    pub struct Body(Bytes);
    impl Body {
        pub fn full(b: Bytes) -> Body {
            Body(b)
        }
        pub fn empty() -> Body {
            Body(Bytes::new())
        }
        pub async fn collect(self, _limit: usize) -> Result<Bytes, BodyError> {
            Ok(self.0)
        }
    }
}
pub mod content {
    pub fn replaced(_h: &mut http::HeaderMap, _len: usize) {}
}
pub mod encoding {
    use bytes::Bytes;
    pub fn of(_h: &http::HeaderMap) -> Vec<String> {
        vec![]
    }
    pub async fn decode(raw: Bytes, _e: &[String], _max: usize) -> Result<Bytes, super::body::BodyError> {
        Ok(raw)
    }
}
pub mod path {
    pub struct NormalPath(String);
    impl NormalPath {
        pub fn parse(s: &str) -> Result<NormalPath, String> {
            Ok(NormalPath(s.into()))
        }
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }
}
pub mod query {
    pub fn parse(_q: &str) -> Vec<(String, String)> {
        vec![]
    }
    pub fn encode(_p: &[(String, String)]) -> String {
        String::new()
    }
}
pub mod cookies {
    pub fn get<'a>(_line: &'a [u8], _name: &str) -> Option<&'a [u8]> {
        None
    }
    pub fn names(_line: &[u8]) -> Vec<&str> {
        vec![]
    }
}
