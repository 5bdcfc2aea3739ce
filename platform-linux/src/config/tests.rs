//! Tests of the configuration: the corpus, and that no input can make the parser panic.
