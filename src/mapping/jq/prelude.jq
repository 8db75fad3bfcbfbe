# jq's own filters that are written in jq, as of jq 1.7.1, with some that came later. Those that are here in Rust are in natives/.
def select(f): if f then . else empty end;
def values: select(. != null);
def nulls: select(. == null);
def booleans: select(type == "boolean");
def numbers: select(type == "number");
def strings: select(type == "string");
def arrays: select(type == "array");
def objects: select(type == "object");
def iterables: select(type | . == "array" or . == "object");
def scalars: select(type | . != "array" and . != "object");
def isfinite: type == "number" and (isinfinite | not);
def isvalid(f): try (f | true) catch false;
def finites: select(isfinite);
def normals: select(isnormal);

def map(f): [.[] | f];
def map_values(f): .[] |= f;
def recurse(f; cond): recurse(f | select(cond));
def recurse_down: recurse;
def add(f): reduce f as $x (null; . + $x);
def range($x): range(0; $x);
def range($init; $upto; $by):
  if $by > 0 then $init | while(. < $upto; . + $by)
  elif $by < 0 then $init | while(. > $upto; . + $by)
  else empty end;
def last(g): reduce g as $item (null; $item);
def nth($n; g):
  if $n < 0 then error("nth doesn't support negative indices")
  else label $out | foreach g as $item ($n + 1; . - 1; if . <= 0 then $item, break $out else empty end) end;
def skip($n; g): if $n > 0 then foreach g as $item ($n; . - 1; if . < 0 then $item else empty end) else g end;
def first: .[0];
def last: .[-1];
def nth($n): .[$n];
def all(g; cond): isempty(g | cond and empty);
def any(g; cond): isempty(g | cond or empty) | not;
def all(cond): all(.[]; cond);
def any(cond): any(.[]; cond);
def all: all(.[]; .);
def any: any(.[]; .);
def in(xs): . as $x | xs | has($x);
def inside(xs): . as $x | xs | contains($x);
def combinations: if length == 0 then [] else .[0][] as $x | (.[1:] | combinations) as $y | [$x] + $y end;
def combinations(n): . as $dot | [range(n) | $dot] | combinations;
def walk(f): def w: if type == "object" then map_values(w) elif type == "array" then map(w) else . end | f; w;

def sort_by(f): _sort_by(map([f]));
def group_by(f): _group_by(map([f]));
def unique_by(f): _unique_by(map([f]));
def min_by(f): _min_by(map([f]));
def max_by(f): _max_by(map([f]));
def flatten($x): if $x < 0 then error("flatten depth must not be negative") else _flatten($x) end;
def flatten: _flatten(-1);
def from_entries:
  reduce .[] as $x ({}; . + ($x | {(.key // .Key // .name // .Name // .k // .K):
    (if has("value") then .value elif has("Value") then .Value elif has("v") then .v else .V end)}));
def with_entries(f): to_entries | map(f) | from_entries;

def del(f): delpaths([path(f)]);
def paths: path(recurse) | select(length > 0);
def paths(node_filter): path(recurse | select(node_filter)) | select(length > 0);
def leaf_paths: paths(scalars);
def pick(pathexps): . as $in | reduce path(pathexps) as $a (null; setpath($a; $in | getpath($a)));
def tostream: path(def r: (.[]? | r), .; r) as $p | getpath($p) | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def fromstream(i): {x: null, e: false} as $init
  | foreach i as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
        else setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
def truncate_stream(stream): . as $n | null | stream | . as $input
  | if (.[0] | length) > $n then setpath([0]; $input[0][$n:]) else empty end;

def match(re; mode): _match(re; mode; false) | .[];
def test(re; mode): _match(re; mode; true);
def _with_flags: . as $v | if type == "string" then [$v, null]
  elif type == "array" and length > 1 then [$v[0], $v[1]]
  elif type == "array" and length > 0 then [$v[0], null]
  else error(type + " not a string or array") end;
def match($val): ($val | _with_flags) as $v | match($v[0]; $v[1]);
def test($val): ($val | _with_flags) as $v | test($v[0]; $v[1]);
def capture(re; mods): match(re; mods) | reduce (.captures | .[] | select(.name != null) | {(.name): .string}) as $pair ({}; . + $pair);
def capture($val): ($val | _with_flags) as $v | capture($v[0]; $v[1]);
def scan($re; $flags): match($re; "g" + $flags)
  | if (.captures | length > 0) then [.captures | .[] | .string] else .string end;
def scan($re): scan($re; null);
def split($re; flags): _pieces($re; flags + "g");
def splits($re; flags): split($re; flags) | .[];
def splits($re): splits($re; null);
def sub($re; s; $flags): . as $in | _edits($re; $flags) as [$edits, $rest]
  | (reduce $edits[] as [$gap, $groups] ([];
      [$groups | s] as $inserts
      | reduce range(0; $inserts | length) as $ix (.; .[$ix] += $gap + $inserts[$ix]))
    | .[] + $rest) // $in;
def sub($re; s): sub($re; s; "");
def gsub($re; s; flags): sub($re; s; flags + "g");
def gsub($re; s): sub($re; s; "g");

def fromdateiso8601: strptime("%Y-%m-%dT%H:%M:%SZ") | mktime;
def todateiso8601: strftime("%Y-%m-%dT%H:%M:%SZ");
def fromdate: fromdateiso8601;
def todate: todateiso8601;
def date: todate;
def dateadd(u; n): . + n;
def datesub(u; n): . - n;

def bsearch($target):
  if length == 0 then -1
  elif length == 1 then (if $target == .[0] then 0 elif $target < .[0] then -1 else -2 end)
  else . as $in
    | [0, length - 1, null]
    | until(.[0] > .[1];
        if .[2] != null then .[1] = -1
        else ((.[1] + .[0]) / 2 | floor) as $mid
          | $in[$mid] as $monkey
          | if $monkey == $target then .[2] = $mid
            elif .[0] == .[1] then .[1] = -1
            elif $monkey < $target then .[0] = $mid + 1
            else .[1] = $mid - 1 end
        end)
    | if .[2] == null then (if $in[.[0]] < $target then -2 - .[0] else -1 - .[0] end) else .[2] end
  end;
def INDEX(stream; idx_expr): reduce stream as $row ({}; .[$row | idx_expr | tostring] = $row);
def INDEX(idx_expr): INDEX(.[]; idx_expr);
def JOIN($idx; idx_expr): [.[] | [., $idx[idx_expr]]];
def JOIN($idx; stream; idx_expr): stream | [., $idx[idx_expr]];
def JOIN($idx; stream; idx_expr; join_expr): stream | [., $idx[idx_expr]] | join_expr;
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
