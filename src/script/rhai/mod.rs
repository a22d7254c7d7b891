//! Rhai.
