"""Words for the language tasks: nouns, verbs with their forms, adjectives, opposites, likenesses.

Plain tables, written for this project; knows nothing of questions.
"""

from __future__ import annotations

from demo.item import words

# Nouns for living subjects and for things, singular and plural.
PEOPLE = dict(
    row.split("/")
    for row in words(
        "teacher/teachers doctor/doctors farmer/farmers child/children woman/women man/men "
        "soldier/soldiers nurse/nurses king/kings queen/queens boy/boys girl/girls "
        "pilot/pilots singer/singers neighbour/neighbours baker/bakers lady/ladies "
        "thief/thieves wife/wives student/students driver/drivers painter/painters "
        "dancer/dancers waiter/waiters aunt/aunts uncle/uncles guest/guests clerk/clerks"
    )
)
THINGS = dict(
    row.split("/")
    for row in words(
        "key/keys box/boxes house/houses book/books tree/trees car/cars bridge/bridges "
        "door/doors knife/knives leaf/leaves shelf/shelves dish/dishes city/cities "
        "window/windows garden/gardens picture/pictures letter/letters boat/boats tower/towers "
        "street/streets table/tables cupboard/cupboards bag/bags fence/fences roof/roofs "
        "wall/walls lamp/lamps coat/coats"
    )
)
PREPOSITIONS = ("near", "behind", "beside", "opposite", "next to", "in front of")
STATES = (
    "very old",
    "quite new",
    "clean again",
    "not for sale",
    "rather small",
    "well known",
    "in good order",
    "hard to find",
    "easy to see",
    "covered with snow",
)
MOODS = (
    "tired",
    "late again",
    "very happy",
    "quite sure",
    "hungry",
    "ready to go",
    "not at home",
    "rather shy",
    "proud",
    "afraid of the dark",
)

# Base, third person, past, participle, -ing form, and something to go with it.
VERBS = tuple(
    tuple(row.split(", "))
    for row in """
walk, walks, walked, walked, walking, to the station
work, works, worked, worked, working, in the garden
play, plays, played, played, playing, in the yard
cook, cooks, cooked, cooked, cooking, a big meal
open, opens, opened, opened, opening, the window
carry, carries, carried, carried, carrying, a heavy bag
study, studies, studied, studied, studying, the map
stop, stops, stopped, stopped, stopping, at the bridge
plan, plans, planned, planned, planning, a long trip
wash, washes, washed, washed, washing, the dishes
watch, watches, watched, watched, watching, the birds
fix, fixes, fixed, fixed, fixing, the old clock
dance, dances, danced, danced, dancing, in the hall
smile, smiles, smiled, smiled, smiling, at the baby
go, goes, went, gone, going, to the market
eat, eats, ate, eaten, eating, an apple
drink, drinks, drank, drunk, drinking, cold water
sing, sings, sang, sung, singing, an old song
swim, swims, swam, swum, swimming, in the lake
write, writes, wrote, written, writing, a long letter
drive, drives, drove, driven, driving, to the coast
speak, speaks, spoke, spoken, speaking, to the guests
break, breaks, broke, broken, breaking, a cup
take, takes, took, taken, taking, the early bus
give, gives, gave, given, giving, a speech
see, sees, saw, seen, seeing, a strange bird
know, knows, knew, known, knowing, the answer
grow, grows, grew, grown, growing, tomatoes
throw, throws, threw, thrown, throwing, a ball
fly, flies, flew, flown, flying, to the south
draw, draws, drew, drawn, drawing, a horse
begin, begins, began, begun, beginning, the lesson
bring, brings, brought, brought, bringing, fresh bread
buy, buys, bought, bought, buying, new shoes
catch, catches, caught, caught, catching, a fish
teach, teaches, taught, taught, teaching, a class
think, thinks, thought, thought, thinking, of home
sleep, sleeps, slept, slept, sleeping, in a tent
keep, keeps, kept, kept, keeping, a diary
leave, leaves, left, left, leaving, the house
find, finds, found, found, finding, a coin
hold, holds, held, held, holding, the rope
tell, tells, told, told, telling, a story
sell, sells, sold, sold, selling, fruit
build, builds, built, built, building, a wall
send, sends, sent, sent, sending, a parcel
lose, loses, lost, lost, losing, the game
win, wins, won, won, winning, a prize
run, runs, ran, run, running, along the river
come, comes, came, come, coming, by train
sit, sits, sat, sat, sitting, by the fire
stand, stands, stood, stood, standing, in the rain
forget, forgets, forgot, forgotten, forgetting, the keys
choose, chooses, chose, chosen, choosing, a blue hat
wear, wears, wore, worn, wearing, a warm coat
steal, steals, stole, stolen, stealing, a watch
hide, hides, hid, hidden, hiding, in the barn
ride, rides, rode, ridden, riding, a grey horse
shake, shakes, shook, shaken, shaking, the tree
feed, feeds, fed, fed, feeding, the hens
""".strip().splitlines()
)

NAMES = {
    "Anna": "she",
    "Ben": "he",
    "Carla": "she",
    "David": "he",
    "Emma": "she",
    "Felix": "he",
    "Grace": "she",
    "Henry": "he",
    "Iris": "she",
    "Jack": "he",
    "Kate": "she",
    "Leo": "he",
    "Mia": "she",
    "Noah": "he",
    "Olga": "she",
    "Paul": "he",
    "Rosa": "she",
    "Sam": "he",
    "Tina": "she",
    "Victor": "he",
}
FEMALE = ("woman", "queen", "girl", "lady", "wife", "aunt")
MALE = ("man", "king", "boy", "uncle")

OPPOSITES = tuple(
    tuple(row.split("/"))
    for row in words(
        "hot/cold big/small tall/short fast/slow old/young new/used rich/poor happy/sad "
        "clean/dirty full/empty heavy/light hard/soft wet/dry strong/weak loud/quiet "
        "early/late wide/narrow deep/shallow thick/thin sharp/blunt open/closed true/false "
        "right/wrong near/far high/low long/brief day/night summer/winter north/south "
        "east/west love/hate win/lose buy/sell give/take push/pull arrive/leave "
        "remember/forget begin/end build/destroy laugh/cry sink/float rise/fall ask/answer "
        "teach/learn borrow/lend accept/refuse attack/defend increase/decrease appear/vanish "
        "succeed/fail brave/cowardly polite/rude generous/stingy smooth/rough tight/loose "
        "straight/crooked simple/complex ancient/modern public/private guilty/innocent "
        "safe/dangerous cheap/expensive lazy/diligent friend/enemy victory/defeat "
        "entrance/exit question/reply giant/dwarf hero/villain peace/war truth/lie profit/loss "
        "above/below inside/outside always/never before/after often/rarely "
        "forward/backward bitter/sweet alive/dead asleep/awake"
    )
)
SYNONYMS = tuple(
    tuple(row.split("/"))
    for row in words(
        "large/huge tiny/little quick/rapid glad/cheerful unhappy/gloomy clever/smart "
        "silly/foolish scared/frightened angry/furious tired/weary calm/peaceful odd/strange "
        "pretty/lovely correct/accurate difficult/tricky easy/effortless famous/celebrated "
        "ill/sick silent/still wealthy/affluent start/commence stop/cease speak/talk look/gaze "
        "shout/yell jump/leap run/sprint walk/stroll throw/toss repair/mend help/assist "
        "choose/select try/attempt purchase/acquire reply/respond hide/conceal show/display "
        "shake/tremble mistake/error journey/voyage house/dwelling present/gift child/kid "
        "job/occupation rubbish/waste road/lane idea/notion fight/battle street/avenue "
        "forest/woods stone/rock sofa/couch cup/mug doctor/physician thief/robber "
        "rich/prosperous end/finish shut/close damp/moist faithful/loyal honest/sincere "
        "bright/shiny stubborn/obstinate fearless/courageous hurry/rush lift/raise "
        "permit/allow require/need reveal/disclose gather/assemble divide/split connect/join "
        "annoy/bother fortunate/lucky vacant/unoccupied"
    )
)

# Words so close in meaning that one is no wrong choice where another is right.
NEAR = tuple(
    frozenset(row.split())
    for row in """
fast quick rapid early
big large huge giant
small tiny little short brief dwarf low
happy glad cheerful
sad unhappy gloomy
begin start commence
end finish stop cease
quiet silent still calm peaceful
rich wealthy affluent prosperous
wet damp moist
old ancient
new modern
sick ill
right true correct accurate
wrong false
strange odd
show display reveal disclose appear
hide conceal vanish
easy simple effortless
difficult hard tricky complex heavy
tired weary asleep lazy
brave fearless courageous
cowardly scared frightened
closed shut close
open show
give present gift
answer reply respond
rise lift raise high tall above increase
fall sink low below
buy purchase acquire take
accept permit allow
attack fight battle war
enemy villain
hero friend
error mistake lie
smart clever sharp
foolish silly
vacant unoccupied empty
join connect gather assemble
push throw toss
talk speak
shout yell cry
strong tight
walk stroll run sprint hurry rush
journey voyage
road lane street avenue
house dwelling
leave exit
win succeed victory profit
lose fail defeat loss
love help assist
fortunate lucky
safe
honest sincere faithful loyal true polite generous
need require
outside forward
before early
after late
""".strip().splitlines()
)

CATEGORIES = {
    "fruit": words("apple pear plum cherry grape lemon fig peach melon banana"),
    "tools": words("hammer saw drill pliers chisel file axe wrench spanner screwdriver"),
    "animals": words("dog cat horse cow sheep goat pig rabbit fox bear"),
    "birds": words("eagle owl crow sparrow robin swan heron parrot pigeon gull"),
    "fish": words("salmon trout herring shark cod tuna carp eel pike perch"),
    "colours": words("red blue green yellow purple brown pink grey white black"),
    "clothes": words("shirt coat sock glove hat scarf skirt belt jacket trousers"),
    "furniture": words("chair table bed sofa desk cupboard shelf bench stool wardrobe"),
    "instruments": words("piano violin flute drum guitar trumpet harp cello organ horn"),
    "vehicles": words("car bus train tram truck bicycle ship airship van ferry"),
    "parts of the body": words("arm leg hand foot knee elbow nose ear chin shoulder"),
    "trees": words("oak pine birch maple willow elm beech cedar poplar larch"),
    "metals": words("iron gold silver copper tin lead zinc nickel cobalt platinum"),
    "weather": words("rain snow wind fog hail storm thunder frost sleet drizzle"),
    "family": words("mother father sister brother aunt uncle cousin nephew niece grandmother"),
    "vegetables": words("carrot onion cabbage potato leek pea spinach turnip radish celery"),
}
