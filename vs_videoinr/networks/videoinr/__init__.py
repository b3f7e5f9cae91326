"""VideoINR (Chen et al., CVPR 2022), as published."""
