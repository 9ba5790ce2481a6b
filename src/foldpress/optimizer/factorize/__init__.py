"""Factorization: a layer's weight as a product of smaller ones, run as a chain of smaller layers.

Read in this order: `problem` (a layer as least squares), `product` (weights that are products), `fitting` (the best factors of a
form), the five forms (`low_rank`, `separable`, `tucker`, `depthwise`, `kronecker`), `forms` (which layer takes which),
`options` (what each would save and cost), `choice` (which are taken), `chain` (surgery), `repair`, and the pass, `factorize`.
"""
