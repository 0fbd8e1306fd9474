//! What many jobs have in common.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A value that clones share until one of them is changed: thousands of jobs have few sources, streams and sinks.
#[derive(PartialEq)]
pub struct Common<T>(Arc<T>);

impl<T> Common<T> {
    pub fn new(value: T) -> Self {
        Common(Arc::new(value))
    }

    /// Whether both are the very same.
    pub fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

// Not derived: the value need not be `Clone` for this.
impl<T> Clone for Common<T> {
    fn clone(&self) -> Self {
        Common(Arc::clone(&self.0))
    }
}

impl<T> Deref for Common<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Common<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: fmt::Debug> fmt::Debug for Common<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_changes_it_has_its_own_from_then_on() {
        let first = Common::new(vec![1]);
        let mut second = first.clone();
        assert!(first.is_one_with(&second));
        second.push(2);
        assert!(!first.is_one_with(&second));
        assert_eq!((first.as_slice(), second.as_slice()), (&[1][..], &[1, 2][..]));
    }
}
