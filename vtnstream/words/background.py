"""Unrelated words that a query is compared with.

They name things that are rarely seen together, so that no video shows many of them. The list is
part of the scoring: changing it changes which queries count as present.
"""

from __future__ import annotations

_WORDS = """
    a harp; a lighthouse; a jellyfish; a typewriter; a snow globe; an astronaut; a violin; a
    pineapple; a cactus in a desert; a chess board; a hot air balloon; a submarine; a penguin;
    a suit of armour; a totem pole; a loom; a beehive; a parking meter; a cement mixer; a
    stained glass window; a lobster; a windmill; a microscope; a pair of skis; a sewing
    machine; a combine harvester; a mosque; an igloo; a rocking chair; a hammock; a saxophone;
    a turtle; an aquarium; a volcano; a ferris wheel; a rowing boat; a mailbox; a pool table; a
    peacock; a tractor; a globe; a bowl of soup; a birthday cake; a fire engine; a canal boat;
    a zebra; an oil rig; a pile of firewood; a garden gnome; a barbecue; a tent in a forest; a
    parachute; a hospital bed; a telescope; an escalator; a cow on a meadow; a wedding dress; a
    crossword; a bathtub; a bunch of bananas; a toaster; a roulette wheel; a frozen lake; a
    motorcycle; a wine cellar; a puppet; a spider; a squirrel; a swan; an elephant; a camel; a
    goldfish; a snake; a parrot; an eagle; a butterfly; a mushroom; a sunflower; a pumpkin; a
    coral reef; a waterfall; a sand dune; a cave; a railway tunnel; a suspension bridge; a
    castle; a pagoda; a greenhouse; a barn; a dentist; a blacksmith; a ballet dancer; a surfer;
    a fencer; a judge; a bricklayer; a fisherman; a welder; a clown; a weather map; a bar
    chart; a page of text; a black screen; a circuit board; a padlock; a stapler; a pair of
    scissors; an umbrella; a teddy bear; a vacuum cleaner; a washing machine; a chandelier; a
    cuckoo clock; a trumpet; a drum kit; a bagpipe; a bulldozer; a forklift; a helicopter; a
    container ship; a tram
"""

BACKGROUND_WORDS = tuple(" ".join(word.split()) for word in _WORDS.split(";"))
