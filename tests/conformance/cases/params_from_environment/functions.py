def f(given):
    return {"seen": given}
