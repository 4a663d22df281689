"""The probe asks a real account the questions that the vendors' documents leave open, and says what follows."""
