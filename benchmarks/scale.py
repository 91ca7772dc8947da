import argparse
def add_arguments(parser): pass
def main(asked): return 1
