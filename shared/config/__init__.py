"""What the app is told: its settings, the imports and exports, their schedules."""
