//! The reference and the editor stubs, printed from the list.
