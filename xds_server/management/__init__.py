"""How people and programs reach the control plane, other than over xDS streams."""
