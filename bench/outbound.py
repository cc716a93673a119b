def measure(database, args, oca):
    return {}


def show(result):
    pass
