"""The fifty exercises that the serialization endpoints show: ten movements, each with five tools.

Made once, when the module is imported, and the same in every process: ids are UUIDv5 of the slug, times
are counted from a fixed one. As JSON they are about 55 kB, as many as the article's.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid5

from auth_app.schemas import exercise_pydantic
from auth_app.schemas.exercise_struct import Author, Equipment, ExerciseRead, Media, MuscleGroup
from auth_app.schemas.exercise_words import Category, Difficulty, Force, Mechanic

_NAMESPACE = UUID("5f0c7a6e-2d1b-4c39-9a8e-71b3d64c0e52")
_FIRST_CREATED = datetime(2026, 1, 5, 7, 30, 0, 120_450, tzinfo=UTC)
_BETWEEN_TWO = timedelta(hours=5, minutes=17, seconds=9, microseconds=3_071)
_UNTIL_UPDATED = timedelta(days=12, hours=3, minutes=44, microseconds=518)


class _Movement(NamedTuple):
    name: str
    category: Category
    force: Force
    mechanic: Mechanic
    primary: tuple[str, ...]
    secondary: tuple[str, ...]
    steps: tuple[str, ...]


class _Tool(NamedTuple):
    name: str
    portable: bool
    difficulty: Difficulty


_TOOLS = (
    _Tool("Barbell", portable=False, difficulty="intermediate"),
    _Tool("Dumbbell", portable=True, difficulty="beginner"),
    _Tool("Kettlebell", portable=True, difficulty="expert"),
    _Tool("Cable", portable=False, difficulty="beginner"),
    _Tool("Resistance Band", portable=True, difficulty="beginner"),
)

_MOVEMENTS = (
    _Movement(
        "Bench Press",
        "powerlifting",
        "push",
        "compound",
        ("Chest",),
        ("Triceps", "Front Delts"),
        (
            "Lie on the bench with your feet flat and your shoulder blades pulled together.",
            "Lower the weight to the middle of your chest, elbows at half a right angle.",
            "Press until your arms are straight, without lifting your hips.",
        ),
    ),
    _Movement(
        "Bent-Over Row",
        "strength",
        "pull",
        "compound",
        ("Upper Back", "Lats"),
        ("Biceps",),
        (
            "Bend at the hips until your back is nearly level, knees soft and spine straight.",
            "Pull the weight to your waist and squeeze your shoulder blades for a moment.",
            "Lower it under control until your arms hang straight again.",
        ),
    ),
    _Movement(
        "Overhead Press",
        "strength",
        "push",
        "compound",
        ("Front Delts",),
        ("Triceps", "Upper Back"),
        (
            "Stand tall with the weight at shoulder height and your ribs held down.",
            "Press it straight up, moving your head back just enough to let it pass.",
            "Lock your elbows above the ears, then return along the same path.",
        ),
    ),
    _Movement(
        "Squat",
        "powerlifting",
        "push",
        "compound",
        ("Quadriceps", "Glutes"),
        ("Hamstrings",),
        (
            "Set your feet a little wider than your hips, toes turned out slightly.",
            "Sit down between your heels until your thighs are at least level.",
            "Drive up through the whole foot and keep your chest in front of your hips.",
        ),
    ),
    _Movement(
        "Romanian Deadlift",
        "powerlifting",
        "pull",
        "compound",
        ("Hamstrings",),
        ("Glutes", "Lower Back"),
        (
            "Hold the weight against your thighs and unlock your knees.",
            "Push your hips back until you feel the stretch behind your legs.",
            "Bring your hips forward again while the weight stays close to your body.",
        ),
    ),
    _Movement(
        "Biceps Curl",
        "strength",
        "pull",
        "isolation",
        ("Biceps",),
        ("Forearms", "Front Delts"),
        (
            "Stand with your elbows beside your ribs and your palms turned forward.",
            "Curl the weight to your shoulders without swinging your trunk.",
            "Lower it slowly, for about twice as long as it took to lift.",
        ),
    ),
    _Movement(
        "Reverse Lunge",
        "strength",
        "push",
        "compound",
        ("Glutes", "Quadriceps"),
        ("Calves",),
        (
            "Stand tall and take one long step back onto the ball of your foot.",
            "Lower your knee until it almost touches the floor, front shin upright.",
            "Push through the heel in front to come back, then change sides.",
        ),
    ),
    _Movement(
        "Triceps Extension",
        "strength",
        "push",
        "isolation",
        ("Triceps",),
        ("Forearms", "Front Delts"),
        (
            "Bring the weight overhead, elbows pointing forward and close together.",
            "Bend your elbows until your forearms pass the level of your ears.",
            "Straighten your arms again while your upper arms stay where they are.",
        ),
    ),
    _Movement(
        "Shrug",
        "strength",
        "pull",
        "isolation",
        ("Trapezius",),
        ("Forearms", "Upper Back"),
        (
            "Stand with the weight at arm's length and your neck in line with your spine.",
            "Lift your shoulders straight towards your ears, without rolling them.",
            "Hold at the top for one breath, then let them sink completely.",
        ),
    ),
    _Movement(
        "Glute Bridge",
        "strength",
        "push",
        "compound",
        ("Glutes",),
        ("Hamstrings", "Lower Back"),
        (
            "Lie on your back, heels close to your hips and the weight across them.",
            "Press your heels down and lift your hips until your trunk is straight.",
            "Pause without arching your lower back, then come down with control.",
        ),
    ),
)

_AUTHORS = ("Mara Lindqvist", "Tomasz Wilk", "Ines Carvalho")


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")


def _muscles(names: tuple[str, ...]) -> list[MuscleGroup]:
    return [MuscleGroup(id=uuid5(_NAMESPACE, f"muscle-group/{_slug(name)}"), name=name) for name in names]


def _exercise(number: int, movement: _Movement, tool: _Tool) -> ExerciseRead:
    name = f"{tool.name} {movement.name}"
    slug = _slug(name)
    author = _AUTHORS[number % len(_AUTHORS)]
    created_at = _FIRST_CREATED + number * _BETWEEN_TWO
    return ExerciseRead(
        id=uuid5(_NAMESPACE, f"exercise/{slug}"),
        slug=slug,
        name=name,
        category=movement.category,
        force=movement.force,
        mechanic=movement.mechanic,
        difficulty_level=tool.difficulty,
        instructions=list(movement.steps),
        primary_muscles=_muscles(movement.primary),
        secondary_muscles=_muscles(movement.secondary),
        equipment=Equipment(
            id=uuid5(_NAMESPACE, f"equipment/{_slug(tool.name)}"),
            name=tool.name,
            is_portable=tool.portable,
        ),
        author=Author(id=uuid5(_NAMESPACE, f"author/{_slug(author)}"), name=author),
        media=Media(
            image_path_start=f"{slug}/start.webp",
            image_path_end=f"{slug}/end.webp",
            # Not every exercise has been filmed.
            video_url=f"https://media.example.com/{slug}.mp4" if number % 2 else None,
        ),
        is_system_default=True,
        created_at=created_at,
        updated_at=created_at + _UNTIL_UPDATED,
    )


STRUCTS = [
    _exercise(number, movement, tool)
    for number, (movement, tool) in enumerate((movement, tool) for movement in _MOVEMENTS for tool in _TOOLS)
]
MODELS = [exercise_pydantic.ExerciseRead.model_validate(exercise) for exercise in STRUCTS]
