"""How much may be used: amounts, named sizes and the quotas that all requests share."""
