"""Help in a class: raised hands, and notebooks that their people let helpers see."""
