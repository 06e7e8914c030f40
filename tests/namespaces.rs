//! Targets in namespaces of their own.
