//! Bad input gets one clear line, exit code 2, and leaves nothing behind.
