"""What asyncsyft claims, measured side by side with the peers: ``python -m benchmarks transport``."""
