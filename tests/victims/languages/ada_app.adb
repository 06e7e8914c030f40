-- Waits in a chain of functions whose names the compiler encodes.
with Ada.Text_IO;
procedure Ada_App is
   package Int_Depot is
      procedure Wait (N : Integer);
      function "+" (A, B : String) return Integer;
   end Int_Depot;
   package body Int_Depot is
      Kept : Integer := 0;
      procedure Wait (N : Integer) is
      begin
         delay 300.0;
         Kept := N;
      end Wait;
      function "+" (A, B : String) return Integer is
      begin
         Wait (A'Length);
         Kept := B'Length;
         return Kept;
      end "+";
   end Int_Depot;
   use Int_Depot;
   X : Integer;
begin
   Ada.Text_IO.Put_Line ("ready");
   Ada.Text_IO.Flush;
   X := "a" + "b";
   Ada.Text_IO.Put_Line (X'Image);
end Ada_App;
