//! Scripts that take what they can get.

use super::*;
