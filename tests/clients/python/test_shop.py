"""Test cases of a job. The variable SHOP sets the seconds of each case (`case=seconds,...`). pytest runs
them with pytest-opentelemetry, as a project without code for Pacegate would."""

import os
import time

import pytest

SECONDS = dict(pair.split("=") for pair in os.environ["SHOP"].split(","))


@pytest.fixture(scope="module")
def shop():
    return {"cart": [], "orders": 0}


def test_cart(shop):
    time.sleep(float(SECONDS["cart"]))
    shop["cart"].append("book")
    assert shop["cart"]


def test_checkout(shop):
    time.sleep(float(SECONDS["checkout"]))
    shop["orders"] += 1
    assert shop["orders"] == 1


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
def test_refund(shop, currency):
    time.sleep(float(SECONDS["refund"]))
    assert shop["orders"] == 1 and currency
