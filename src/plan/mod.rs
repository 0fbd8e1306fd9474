//! Window and coverage to slices. Pure.
