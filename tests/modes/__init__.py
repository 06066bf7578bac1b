"""Which modes of differentiation, batching and compilation every public function has: docs/modes.md."""
