"A wooden block that is struck whenever something in the film lands, as in a puppet theatre."
from sora_kit.hooks import ComponentSpec, Param

sora_api = "1.0"


def sora_audio_modules():
    params = (Param("wood", str, "block", choices=("block", "temple", "clave"), help="what is struck"),
              Param("level", float, -16., -60, 0, help="loudness of the hardest blow in dBFS"),
              Param("pulse", float, 0., 0, 240, help="quiet beats a minute in between; 0 is none"))
    return [ComponentSpec("sora-kit-woodblock/woodblock", "sora_kit_woodblock.module:Woodblock", "a wooden block for everything that lands",
                          "audio_module", {"needs": ("video",), "follows_events": True}, params)]
