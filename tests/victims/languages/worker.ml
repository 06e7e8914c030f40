(* Waits in a chain of functions whose names the compiler encodes. *)
module Pool = struct
  let kept = ref 0
  let[@inline never] wait n = Unix.sleep 300; kept := n; n
  let[@inline never] ( +++ ) a b = let r = wait (a + b) in kept := r; r
end
let[@inline never] run f = let r = f 1 in Pool.kept := r; r
let () = print_endline "ready"; ignore (run (fun n -> let r = Pool.(n +++ 2) in Pool.kept := r; r))
