//! What the target notices of being looked at: nothing.
