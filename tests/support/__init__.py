"""What several suites and generated documents share; holds no tests."""
