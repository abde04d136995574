"""What the surfaces of made scenes show: photographs or procedural textures."""
