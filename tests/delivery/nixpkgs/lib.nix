# The functions of nixpkgs' lib that the flake uses.
rec {
  genAttrs =
    names: value:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = value name;
      }) names
    );
  nameValuePair = name: value: { inherit name value; };
  mapAttrs' =
    change: attrs: builtins.listToAttrs (map (name: change name attrs.${name}) (builtins.attrNames attrs));
  mapAttrsToList = change: attrs: map (name: change name attrs.${name}) (builtins.attrNames attrs);
  concatStrings = builtins.concatStringsSep "";
  concatLines = lines: concatStrings (map (line: "${line}\n") lines);
  boolToString = value: if value then "true" else "false";
  optionalString = wanted: text: if wanted then text else "";
  optionalAttrs = wanted: attrs: if wanted then attrs else { };
  fileset = {
    unions = files: files;
    toSource =
      { root, fileset }:
      {
        outPath = "/source";
        files = map (
          file:
          if builtins.pathExists file then
            builtins.substring (builtins.stringLength (toString root) + 1) (-1) (toString file)
          else
            throw "lib.fileset: ${toString file} does not exist"
        ) fileset;
      };
  };
}
