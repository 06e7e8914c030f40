//! What is printed live is what the file prints later.
