"""The private parts of torch that vtnstream uses, one module for each.

Every module checks its part when it is first needed: the part must exist and give the expected
result in the installed release of torch. If the check fails, the caller takes a plain path of
public operators with equal results. Importing this package imports no torch and changes nothing.
"""
