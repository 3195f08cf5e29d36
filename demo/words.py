"""The words of the demo world beside its things, which fill captions."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DETERMINERS = _words(
    """
    a the his her my their this that one our your
    """
)
ADJECTIVES = _words(
    """
    small big large little red blue green yellow white black brown grey pink purple orange
    new old young happy tired shiny bright dark colorful beautiful cute tiny huge lovely
    broken fresh fast slow quiet funny pretty nice round wooden friendly lonely famous
    strange wonderful first second
    """
)
VERBS = _words(
    """
    sitting standing lying resting waiting running jumping flying skiing riding sleeping
    looking playing moving hiding floating walking swimming falling driving eating watching
    holding carrying chasing parked placed left seen shown found lost hanging leaning
    dancing climbing sliding
    """
)
PREPOSITIONS = _words(
    """
    on in under beside behind near by with over above below between against inside at before
    after around next to from into across along
    """
)
PLACES = _words(
    """
    background street field sky snow mountain park room beach road grass garden picture
    photo image corner middle city morning evening night sun rain wind hill scene ground
    floor wall side front
    """
)
GLUE = _words(
    """
    and is are was there it of an or while has have had some many very quite really who
    which where i see we can you show find me please what here today now just only two three
    not no he she they its as up down out off for be been then
    """
)
OTHER_NOUNS = _words(
    """
    zebra lion tiger giraffe monkey rabbit bear sheep pig mouse frog snake turtle penguin
    duck bridge tower castle piano violin drum trumpet table sofa bed lamp door window
    bottle glass fork spoon knife plate bread cheese egg carrot orange grape lemon potato
    tomato truck motorcycle helicopter rocket ship tractor scooter television radio keyboard
    printer pen pencil scissors hammer ladder rope box basket candle mirror carpet shirt
    dress coat sock glove scarf ring crown coin star moon cloud river stone leaf mushroom
    butterfly bee spider child girl boy baby doctor farmer dancer robot balloon kite doll
    drone tent flag suitcase wallet skateboard helmet racket bat skates
    """
)

FILLERS: tuple[str, ...] = tuple(
    dict.fromkeys((*DETERMINERS, *ADJECTIVES, *VERBS, *PREPOSITIONS, *PLACES, *GLUE, *OTHER_NOUNS))
)
