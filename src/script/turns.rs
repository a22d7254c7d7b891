//! Whose turn it is among the scripts of a worker that gave way.
//!
//! Were each simply to go on after the worker has looked for input, fifty scripts that loop would all have a slice in between, and a
//! neighbour would wait for fifty milliseconds. So they stand in one line, and between two looks only the first has its slice.

use tokio::sync::Semaphore;

pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Turns {
        Turns(Semaphore::new(1))
    }
}

impl Turns {
    /// Waits until the scripts before it have had their turn and the worker has looked for input.
    pub async fn next(&self) {
        // Closed never; and were it, giving way without a line would do.
        let _first = self.0.acquire().await;
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, rc::Rc};

    /// Between two of the neighbour's turns no more than one of the scripts runs, each as often as the others.
    #[tokio::test(flavor = "current_thread")]
    async fn one_script_runs_in_between_and_none_is_passed_over() {
        let turns = Rc::new(Turns::default());
        let ran = Rc::new(RefCell::new(Vec::new()));
        let script = |name: usize| {
            let (turns, ran) = (turns.clone(), ran.clone());
            async move {
                for _ in 0..3 {
                    turns.next().await;
                    ran.borrow_mut().push(name);
                }
            }
        };
        let neighbour = async {
            let mut most = 0;
            for _ in 0..200 {
                let before = ran.borrow().len();
                tokio::task::yield_now().await;
                most = most.max(ran.borrow().len() - before);
            }
            most
        };
        let scripts: Vec<_> = (0..10).map(|name| Box::pin(script(name))).collect();
        let local = tokio::task::LocalSet::new();
        let most = local
            .run_until(async {
                for script in scripts {
                    tokio::task::spawn_local(script);
                }
                neighbour.await
            })
            .await;
        assert_eq!(most, 1);
        let expected: Vec<usize> = (0..3).flat_map(|_| 0..10).collect();
        assert_eq!(*ran.borrow(), expected);
    }
}
