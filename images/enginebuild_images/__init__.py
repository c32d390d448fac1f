"""OCI images without a daemon: layers are described, and made only while they are sent."""
