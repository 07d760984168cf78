# SPDX-License-Identifier: MIT
# embed.cmake: writes the prelude's JavaScript files into one C++ file.
#   cmake -DOUTPUT=prelude.cpp -DFOLDER=prelude -DFILES=a.js,b.js -P embed.cmake
string(REPLACE "," ";" names "${FILES}")
set(text "// SPDX-License-Identifier: MIT\n// Written by embed.cmake from prelude/*.js.\n#include \"natives.hpp\"\n\nnamespace worker {\n\nconst PreludeFile kPrelude[] = {\n")
foreach(name IN LISTS names)
  file(READ "${FOLDER}/${name}" source)
  string(APPEND text "    {\"${name}\", R\"prelude(${source})prelude\"},\n")
endforeach()
string(APPEND text "    {nullptr, nullptr},\n};\n\n}  // namespace worker\n")
file(WRITE "${OUTPUT}" "${text}")
