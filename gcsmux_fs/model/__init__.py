"""What every room speaks: value types, the object table, errors, retry budgets."""
