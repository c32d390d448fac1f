"""What enginebuild knows about inference engines: a package for each, and none imports its engine."""
