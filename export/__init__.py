"""The trained net in formats of others, one file a format; no Chainer."""
