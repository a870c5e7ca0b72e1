"""A text to report on: four of Aesop's fables, told briefly."""

TITLE = "Four fables"

TEXT = """\
# The Fox and the Grapes

A hungry fox came into a vineyard where ripe grapes hung high on the vine. She jumped for them, and
jumped again, and took a run and jumped once more; but the grapes were out of her reach. At last she
turned away. "They are sour," said the fox, "and I did not want them."

It is easy to despise what you cannot have.

# The Crow and the Pitcher

A thirsty crow found a pitcher with a little water at the bottom. However far he stretched, his beak
did not reach the water; and the pitcher was too heavy to be overturned. So the crow collected
pebbles and dropped them into the pitcher, one by one. With each pebble the water rose a little.
When it stood at the brim the crow drank.

Little by little does the trick.

# The Wind and the Sun

The wind and the sun disputed which of them was the stronger. A traveller came along the road in his
cloak. "Whoever makes him take off the cloak shall be called the stronger," said the sun. The wind
began. He blew as hard as he could; but the harder he blew, the closer did the traveller wrap
himself into the cloak, and at last the wind gave up. Then the sun shone upon the traveller, warmer
and warmer, until he took off the cloak and sat down in the shade.

Kindness does more than force.

# The Tortoise and the Hare

A hare laughed at a tortoise for being slow. "Let us run a race," said the tortoise, "and see." The
hare was so sure of the race that she lay down by the road and slept. The tortoise did not stop.
Step by step he went past the sleeping hare. When the hare woke and ran, the tortoise was resting at
the finish.

Slow and steady wins the race.
"""
