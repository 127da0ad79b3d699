"""The clients that are compared. Each asks every task until it is completed, and asks again after an interval."""
