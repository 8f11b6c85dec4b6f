"""Measurements of speed, beside other libraries; nothing imports them."""
