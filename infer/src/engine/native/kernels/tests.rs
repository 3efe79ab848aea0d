//! Every kernel against the plain one.
