//! Operators that the engine lacks or gets wrong.
