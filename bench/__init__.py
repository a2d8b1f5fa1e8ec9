"""What is measured, against whom, and the last results. Never imported by the product."""
