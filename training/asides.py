"""Words that people type and that name nothing to draw, though no caption has them: the bot must not call them unknown.

They are apart from `phrases.py`, whose words are tokens with name tags of their own: a new one there is another model.
"""

_STYLES = """
abstract acrylic aerial aesthetic airbrush ambient analog animation anime art artwork artworks atmosphere atmospheric
avatar background backgrounds banner baroque bauhaus beautiful blender blueprint bokeh breathtaking bright brush
brushstrokes camera caricature cartoon cartoonish cel celshaded centered ceramic chalk charcoal chiaroscuro chibi
cinematic cinematography clay claymation clipart closeup cold collage colorful coloring colors colour colourful
colours comic comics composition concept contrast crayon crayons cubism cubist cyberpunk dark deco depth design
desktop detail details diffuse digital dimensional diorama disney doodle doodles dramatic drawing dreamy dslr
dystopian embroidery engraving epic etching ethereal expressionism expressionist fantasy filter fisheye foreground
futurism futuristic gameart ghibli glossy glow glowing gothic gouache gradient graffiti grain grainy graphic graphics
grayscale greyscale grunge halftone hd hdr hdri high highres hires holographic hyperdetailed hyperreal hyperrealism
hyperrealistic icon icons illustration illustrations illustrator impasto impressionism impressionist ink intricate
isometric kawaii lego lens light lineart linework linocut lofi logo logos low lowpoly macro magical majestic manga
marker mascot masterpiece matte medieval medium meme metallic miniature minimal minimalism minimalist minimalistic
mockup modern monochromatic monochrome mood moody mosaic mural mystical neo neon noir nouveau octane oil ominous
origami ornate outline outlines painterly painting paintings palette panorama panoramic paper papercraft pastel
pastels pattern pen pencil perspective photo photograph photographic photography photorealism photorealistic photos
pixar pixel pixelart pixelated pixels pointillism polaroid pop popart portrait portraits poster posters print
psychedelic quality raw realism realistic reflections renaissance render rendering renders resolution retro rococo
romanticism scene scenery scifi sculpture seamless sepia serene shading shadows sharp shot silhouette simple sketch
sketches sketchy soft spooky steampunk stencil sticker stickers storybook studio stunning style styled styles stylish
stylized surreal surrealism surrealist symmetrical symmetry synthwave tattoo texture textures tileable tilt
traditional trending uhd ukiyo ultra ultradetailed unreal utopian vaporwave vector vectors vibe vibes vibrant
victorian view viewed vintage vivid voxel wallpaper wallpapers warm watercolour watercolours wide wireframe woodblock
woodcut
"""
_ASKING = """
aboard across against along alongside am amid among amongst another anybody anyone anything around aside atop beneath
beyond create creating depict depicting depicts describe design draw each eight eighteen eighty eleven everybody
everyone everything except featuring fifteen fifty forty fourteen generate give hello hey hi hundred hundreds imagine
inside into kindly let lets like make million must nine nineteen ninety none nor onto outside paint per picture please
plus seven seventeen seventy shall show showing six sixteen sixty someone something surrounded ten thank thanks
thirteen thirty thousand thousands throughout till toward towards twelve twenty unlike unto upon versus via vs want
whatever wherever why within without would yes zero
"""

#: Styles, media, light and quality, which belong to the phrase that they stand in.
STYLES = frozenset(_STYLES.split())
#: Words that ask, count or join: a phrase ends there.
ASKING = frozenset(_ASKING.split())
