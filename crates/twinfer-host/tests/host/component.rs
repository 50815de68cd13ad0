//! The real component.
