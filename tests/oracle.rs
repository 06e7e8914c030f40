//! hangsnap's stacks beside gdb's and eu-stack's, frame by frame.
