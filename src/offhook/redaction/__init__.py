"""Personal data taken out of texts before they are kept or passed on."""
