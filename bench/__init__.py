"""What popgate reaches, measured: `make bench`. README.md here explains each figure."""
