import attrs

import webds


@attrs.frozen
class Text:
    txt: str
    cls: int


texts = webds.DatasetBuilder("train.json").into(Text)
texts.map(lambda text: text.label)  # error
texts.decode("torchrgb8")  # error
texts.batch(4, collate=", ".join)  # error
webds.DatasetBuilder("train.json").shuffle("1000")  # error
webds.DatasetBuilder("train.json").to_tuple("txt", "cls").map_tuple(str)  # error
webds.DatasetBuilder("train.json").split(remainder="even")  # error
